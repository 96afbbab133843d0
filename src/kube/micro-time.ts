/** metav1.MicroTime wants exactly six digits after the point; what Date.toISOString makes is refused (422). */
export const microTime = (date: Date): string => `${date.toISOString().slice(0, -1)}000Z`;
