import { busyboxImage } from './versions.ts';

/** A container of busybox, which stands for an application in tests of the harness and of the product. */
export type BusyboxContainer = {
  name: string;
  command: readonly string[];
  restartPolicy?: 'Always';
  startupProbe?: object;
  ports?: readonly object[];
};

export function busybox(container: BusyboxContainer): object {
  return { image: busyboxImage, imagePullPolicy: 'IfNotPresent', ...container };
}

/** What Pod Security `restricted` asks of a container, and a root file system that nobody writes to. */
export const restricted = {
  runAsNonRoot: true,
  readOnlyRootFilesystem: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
} as const;
