import type { StatusPageData } from './status-page-data.ts';

/** Of the browser, what the page uses: the DOM's own types would make `name`, `status` and the like known all over the source. */
type Node = { append(...children: (Node | string)[]): void; replaceChildren(...children: (Node | string)[]): void } & {
  setAttribute(name: string, value: string): void;
  textContent: string;
  className: string;
  hidden: boolean;
};
declare const document: {
  title: string;
  readonly hidden: boolean;
  getElementById(id: string): Node | null;
  createElement(tag: string): Node;
  createElementNS(space: string, tag: string): Node;
};

/**
 * Runs in the browser, as the text of this function: nothing outside of it is there. Data becomes text nodes and attributes only, never
 * markup, so whatever a server says stays words.
 */
export const statusPageScript = (): void => {
  const REFRESH_MS = 2_000;
  const PATIENCE_MS = 5_000;
  /** Places in the chart: as many as the supervisor keeps. */
  const PLACES = 120;
  const HEIGHT = 72;
  /** A chart of round trips faster than this would show noise. */
  const LEAST_SCALE_MS = 10;

  const at = (id: string): Node => {
    const found = document.getElementById(id);
    if (found === null) throw new Error(`no element ${id}`);
    return found;
  };
  const make = (tag: string, className: string, ...children: (Node | string)[]): Node => {
    const node = document.createElement(tag);
    if (className !== '') node.className = className;
    node.append(...children);
    return node;
  };
  const draw = (tag: string, attributes: Record<string, string | number>, ...children: Node[]): Node => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
    node.append(...children);
    return node;
  };

  const span = (ms: number): string => {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  };
  const ms = (value: number): string => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  const clock = (iso: string): Node => {
    const node = make(
      'time',
      '',
      iso.slice(0, 10) === today ? iso.slice(11, 19) : `${iso.slice(0, 10)} ${iso.slice(11, 19)}`,
    );
    node.setAttribute('datetime', iso);
    return node;
  };
  let today = '';

  const headline = (s: StatusPageData): { words: string; tone: string } => {
    if (s.suspended) return { words: 'Suspended', tone: 'idle' };
    if (s.connected) return { words: 'Connected', tone: 'up' };
    if (s.heartbeat === null) return { words: 'Waiting for a configuration', tone: 'down' };
    return { words: s.disconnects === 0 ? 'Connecting' : 'Reconnecting', tone: 'down' };
  };

  const explanation = (s: StatusPageData, now: number): string => {
    if (s.suspended) return 'Down on purpose: spec.suspend is true.';
    if (s.connected) return 'Bytes go round through the tunnel.';
    const why = s.reason === null ? '' : `${s.reason}${s.detail === '' ? '' : `: ${s.detail}`}`;
    const next = s.nextStart === null ? '' : `Next start of ssh in ${span(Date.parse(s.nextStart) - now)}.`;
    return [why, next || (s.phase === 'Ending' ? 'ssh is being ended.' : s.heartbeat && 'ssh is at it.') || '']
      .filter((one) => one !== '')
      .join(' — ');
  };

  const facts = (s: StatusPageData, now: number): [string, string | Node][] => {
    const beat = s.heartbeat;
    const rtt = s.beats.findLast(({ rttMs }) => rttMs !== null);
    return [
      ['Server', s.path.join(' → ') || '—'],
      [
        'Heartbeat',
        beat === null
          ? '—'
          : `${beat.method ?? beat.wanted}${beat.method === null || beat.wanted === beat.method ? '' : ` (${beat.wanted})`}, every ${beat.periodSeconds} s; down after ${beat.failureThreshold} that did not come back in ${beat.timeoutSeconds} s`,
      ],
      [
        'Last round trip',
        s.lastHeartbeat === null || rtt === undefined || rtt.rttMs === null
          ? 'none yet'
          : `${ms(rtt.rttMs)}, ${span(now - Date.parse(s.lastHeartbeat))} ago`,
      ],
      ['Starts of ssh', `${s.sshStarts}; ${s.disconnects} failed or lost`],
      [
        'Configuration',
        s.configProblem === null
          ? `generation ${s.generation}, in force`
          : make('strong', 'bad', `refused, generation ${s.generation} stays: ${s.configProblem}`),
      ],
      ['Host key', s.hostKeyVerified ? 'verified' : make('strong', 'bad', 'NOT verified')],
    ];
  };

  const chart = (s: StatusPageData): Node => {
    const known = s.beats.flatMap(({ rttMs }) => (rttMs === null ? [] : [rttMs]));
    const top = Math.max(LEAST_SCALE_MS, ...known);
    const bars = s.beats.map(({ at: iso, rttMs }, index) => {
      const height = rttMs === null ? HEIGHT : Math.max(2, (rttMs / top) * HEIGHT);
      const x = (PLACES - s.beats.length + index) * 5;
      const title = draw('title', {});
      title.textContent = `${iso.slice(11, 19)}  ${rttMs === null ? 'did not come back' : ms(rttMs)}`;
      return draw('rect', { x, y: HEIGHT - height, width: 4, height, class: rttMs === null ? 'lost' : 'beat' }, title);
    });
    const lost = s.beats.length - known.length;
    const sorted = [...known].sort((a, b) => a - b);
    const middle = sorted[Math.floor(sorted.length / 2)];
    at('chart-words').textContent =
      s.beats.length === 0
        ? 'No heartbeat yet.'
        : `Last ${s.beats.length} heartbeats: ${middle === undefined ? '' : `median ${ms(middle)}, slowest ${ms(sorted.at(-1) ?? 0)}, `}${lost} lost. Full height is ${ms(top)}.`;
    return draw(
      'svg',
      {
        viewBox: `0 0 ${PLACES * 5} ${HEIGHT}`,
        preserveAspectRatio: 'none',
        role: 'img',
        'aria-labelledby': 'chart-words',
      },
      ...bars,
    );
  };

  const forwards = (s: StatusPageData): Node[] =>
    s.forwards.map((one) =>
      make(
        'tr',
        '',
        make(
          'td',
          '',
          make(
            'span',
            `state ${one.up ? 'up' : 'down'}`,
            one.up ? 'up' : one.reason === null ? 'down' : `down: ${one.reason}`,
          ),
        ),
        make('th', '', one.name),
        make('td', '', one.kind),
        make('td', 'code', one.listen),
        make('td', 'code', one.target ?? 'what the client names'),
      ),
    );

  const failures = (s: StatusPageData): Node[] =>
    s.failures.toReversed().map((one) => {
      const many = one.count === 1 ? [] : [` ${one.count} times since `, clock(one.first)];
      const head = make('p', '', clock(one.last), ' ', make('strong', '', one.reason), ...many);
      const words = one.lines.includes(one.detail) ? [] : [make('p', '', one.detail)];
      return make('li', '', head, ...words, ...(one.lines.length === 0 ? [] : [make('pre', '', one.lines.join('\n'))]));
    });

  const show = (s: StatusPageData): void => {
    const now = Date.parse(s.now);
    today = s.now.slice(0, 10);
    const { words, tone } = headline(s);
    document.title = `${s.tunnel}: ${words}`;
    at('tunnel').textContent = s.tunnel;
    at('namespace').textContent = s.namespace;
    at('state').textContent = words;
    at('state').className = `state ${tone}`;
    at('since').replaceChildren(
      ...(s.phaseSince === null ? [] : ['since ', clock(s.phaseSince), `, ${span(now - Date.parse(s.phaseSince))}`]),
    );
    at('why').textContent = explanation(s, now);
    at('facts').replaceChildren(
      ...facts(s, now).flatMap(([name, value]) => [make('dt', '', name), make('dd', '', value)]),
    );
    at('chart').replaceChildren(chart(s));
    at('forwards').replaceChildren(...forwards(s));
    const failed = failures(s);
    at('failures').replaceChildren(...failed);
    at('no-failures').hidden = failed.length > 0;
    at('version').textContent = `autossh-operator ${s.version}; times are UTC`;
    at('main').hidden = false;
  };

  const refresh = async (): Promise<void> => {
    if (document.hidden) return;
    try {
      const answer = await fetch('status', { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      show((await answer.json()) as StatusPageData);
      at('stale').hidden = true;
    } catch (error) {
      at('stale').textContent = `The supervisor does not answer: ${(error as Error).message}. What is shown is old.`;
      at('stale').hidden = false;
    }
  };
  const loop = (): void => void refresh().finally(() => setTimeout(loop, REFRESH_MS));
  loop();
};
