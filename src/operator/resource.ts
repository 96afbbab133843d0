import { API_VERSION, KIND, PLURAL } from '../api/names.ts';
import type { Resource } from '../kube/resource.ts';

export const SSH_TUNNELS: Resource = { apiVersion: API_VERSION, kind: KIND, plural: PLURAL, namespaced: true };

/** The name under which the operator owns fields. */
export const FIELD_MANAGER = 'autossh-operator';
/** On every object the operator makes. */
export const MANAGED_BY = { 'app.kubernetes.io/managed-by': 'autossh-operator' } as const;
