import { request } from 'undici';

/** What a sidecar's /status says, as far as the controller needs it; a sidecar of another version may say more or less. */
export type SidecarStatus = {
  readonly connected: boolean;
  readonly suspended: boolean;
  readonly reason: string | null;
  readonly generation: number;
  readonly configAccepted: boolean;
};

const TIMEOUT_MS = 2_000;
const MOST_BYTES = 16_384;

/** Asks one sidecar. Null: it could not be asked, or said nothing that makes sense; never rejects. */
export const readStatus = async (host: string, port: number, signal: AbortSignal): Promise<SidecarStatus | null> => {
  try {
    const address = host.includes(':') ? `[${host}]` : host;
    const { statusCode, body } = await request(`http://${address}:${port}/status`, {
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    let text = '';
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > MOST_BYTES) return null;
    }
    return statusCode === 200 ? parse(JSON.parse(text)) : null;
  } catch {
    return null;
  }
};

const parse = (value: unknown): SidecarStatus | null => {
  if (typeof value !== 'object' || value === null) return null;
  const { connected, suspended, reason, generation, configAccepted } = value as Record<string, unknown>;
  if (typeof connected !== 'boolean' || typeof generation !== 'number') return null;
  return {
    connected,
    generation,
    suspended: suspended === true,
    // It goes into the resource's status, so it is a plain word or nothing.
    reason: typeof reason === 'string' && /^[A-Za-z]{1,64}$/.test(reason) ? reason : null,
    configAccepted: configAccepted !== false,
  };
};
