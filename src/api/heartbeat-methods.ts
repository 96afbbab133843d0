/** How it can be proven that bytes go round (heartbeat.method). */
export const HEARTBEAT_METHODS = ['Auto', 'Loop', 'Echo', 'Forward', 'Ping', 'None'] as const;
export type HeartbeatMethod = (typeof HEARTBEAT_METHODS)[number];
