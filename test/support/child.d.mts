export function runToItsEnd(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<number>;
