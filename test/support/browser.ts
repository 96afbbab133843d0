import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

/** Debian's smallest Chromium first; what a developer may have besides. */
const PLACES = ['chromium-headless-shell', 'chromium', 'google-chrome'].map((name) => `/usr/bin/${name}`);
const found = PLACES.find(existsSync);

/** Why no page can be looked at here; null: it can. */
export const browserMissing =
  found === undefined ? 'no Chromium in /usr/bin: apt-get install chromium-headless-shell' : null;

/** A headless Chromium. Its sandbox does not run as root. */
export const startBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath: found ?? '', chromiumSandbox: process.getuid?.() !== 0, timeout: 100_000 });
