import { buildAll } from './build.ts';

/** vitest's global set-up: every test that runs a binary runs the one made from the sources as they are now. */
export const setup = async (): Promise<void> => {
  await buildAll();
};
