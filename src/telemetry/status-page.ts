import { createHash } from 'node:crypto';
import { statusPageScript } from './status-page-script.ts';

const STYLE = `
:root { color-scheme: light dark; --ink: light-dark(#1c2024, #e6e8ea); --soft: light-dark(#5b6570, #9aa4ae);
  --paper: light-dark(#fff, #14171a); --card: light-dark(#f5f6f8, #1d2125); --line: light-dark(#dfe3e7, #343a40);
  --up: light-dark(#0b6e3f, #5fd39a); --down: light-dark(#b3261e, #ff8a80); --idle: light-dark(#6b5b00, #e3c84a); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; } h1 small { color: var(--soft); font-weight: normal; font-size: 1rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } #since, #chart-words, #no-failures, footer { color: var(--soft); }
#now { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0; }
#now .state { font-size: 1.4rem; font-weight: 600; margin-right: .5rem; }
.state::before { content: "\\25CF\\00A0"; } .state.down::before { content: "\\25B2\\00A0"; } .state.idle::before { content: "\\25A0\\00A0"; }
.up { color: var(--up); } .down, .bad { color: var(--down); } .idle { color: var(--idle); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; } dt { color: var(--soft); } dd { margin: 0; }
svg { display: block; width: 100%; height: 4.5rem; background: var(--card); border-bottom: 1px solid var(--line); }
.beat { fill: var(--up); } .lost { fill: var(--down); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: normal; }
.code, pre { font-family: ui-monospace, monospace; font-size: .875rem; }
ol { list-style: none; padding: 0; margin: 0; } li { border-left: 3px solid var(--down); padding-left: .75rem; margin: 0 0 1rem; }
pre { background: var(--card); padding: .5rem; margin: .25rem 0; white-space: pre-wrap; }
#stale { background: var(--down); color: var(--paper); padding: .5rem 1rem; border-radius: .5rem; margin: 1rem 0; }
@media (max-width: 36rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
[hidden] { display: none; }
`;
const SCRIPT = `(${statusPageScript.toString()})();`;

/** The page for a person: one document that needs nothing else but `/status` beside it. */
export const statusPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>autossh</title>
<style>${STYLE}</style>
<noscript>This page needs JavaScript; the same as JSON is at <a href="status">status</a>.</noscript>
<p id="stale" role="alert" hidden></p>
<main id="main" hidden>
<h1><span id="tunnel"></span> <small id="namespace"></small></h1>
<section id="now"><p><span id="state" class="state" aria-live="polite"></span> <span id="since"></span></p><p id="why"></p></section>
<dl id="facts"></dl>
<h2>Round trips</h2>
<div id="chart"></div><p id="chart-words"></p>
<h2>Forwards</h2>
<div class="wide"><table><thead><tr><th>State</th><th>Name</th><th>Kind</th><th>Listens on</th><th>Leads to</th></tr></thead><tbody id="forwards"></tbody></table></div>
<h2>Last failures</h2>
<p id="no-failures">None since this supervisor started.</p>
<ol id="failures"></ol>
<footer><p id="version"></p></footer>
</main>
<script>${SCRIPT}</script>
</html>
`;

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Only this very script and style run, and only `/status` is fetched; nobody may frame the page. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    `script-src ${hash(SCRIPT)}`,
    `style-src ${hash(STYLE)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; '),
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};
