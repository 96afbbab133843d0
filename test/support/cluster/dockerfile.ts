/** What a Dockerfile starts from. Pure. */

/**
 * Full names of the images that must be there before a build: all of FROM but earlier stages and `scratch`, each once.
 * Throws where a name holds an ARG, which only the builder could fill in.
 */
export function baseImages(dockerfile: string): string[] {
  const stages = new Set(['scratch']);
  const bases = new Set<string>();
  for (const [, image = '', stage] of dockerfile.matchAll(/^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$/gim)) {
    if (image.includes('$')) throw new Error(`expected a plain image name after FROM; got ${image}`);
    if (!stages.has(image.toLowerCase())) bases.add(qualified(image));
    if (stage) stages.add(stage.toLowerCase());
  }
  return [...bases];
}

/** The full name of an image, as containerd and the kubelet complete it: `app:1` is `docker.io/library/app:1`. */
export function qualified(reference: string): string {
  const slash = reference.indexOf('/');
  const host = slash < 0 ? '' : reference.slice(0, slash);
  const named = /[.:]|^localhost$/.test(host) ? reference : `docker.io/${slash < 0 ? 'library/' : ''}${reference}`;
  return /:[\w.-]+$/.test(named.slice(named.lastIndexOf('/'))) ? named : `${named}:latest`;
}

export type LocalBase = { suite: string; node: boolean };

/** Which base images the harness can make itself where none can be pulled: Debian's slim ones, and Node's on top of them. */
export function localBase(reference: string): LocalBase | undefined {
  const found = /^docker\.io\/library\/(node:24-|debian:)(bookworm|trixie)-slim$/.exec(qualified(reference));
  return found ? { suite: found[2] ?? '', node: found[1] === 'node:24-' } : undefined;
}
