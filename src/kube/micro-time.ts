/**
 * metav1.MicroTime (apimachinery micro_time.go, `RFC3339Micro`) wants exactly six digits after the point; what Date.toISOString makes
 * is refused (422).
 */
export const microTime = (date: Date): string => `${date.toISOString().slice(0, -1)}000Z`;
