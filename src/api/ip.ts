const OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const DOTTED = `${OCTET}(\\.${OCTET}){3}`;
const GROUP = '[0-9A-Fa-f]{1,4}';

const IPV4 = `^${DOTTED}$`;
/** All eight groups, the last two of them perhaps as an IPv4 address. */
const WHOLE = `^(${GROUP}:){6}(${GROUP}:${GROUP}|${DOTTED})$`;
/** With one `::`, which stands for at least one group: seven at most are left. */
const ELIDED = `^(${GROUP}(:${GROUP})*)?::((${GROUP}:)*(${GROUP}|${DOTTED}))?$`;
const TOO_LONG = '([^:]+::?){7}[^:]|([^:]+::?){6}[^:]*\\.';
/** ::ffff:0:0/96, however it is written. */
const MAPPED =
  '^((0{1,4}:){5}|(:|(0{1,4}:){1,4}):(0{1,4}:){0,4})[fF]{4}:([^:.]+:[^:.]+|[^:]*\\.[^:]*)$|^(0{1,4}:){5}[fF]{4}:';

/**
 * Whether `self` is an IP address, as Kubernetes' own isIP() has it: no zone, no leading zeros, no IPv4 address in IPv6 clothes
 * (::ffff:…), which the same host would have under two names. In patterns, because a CRD may use isIP() only from Kubernetes 1.31 on.
 */
export const IP_CEL = `self.matches(r'${IPV4}') || ((self.matches(r'${WHOLE}') || (self.matches(r'${ELIDED}') && !self.matches(r'${TOO_LONG}'))) && !self.matches(r'${MAPPED}'))`;

const [ipv4, whole, elided, tooLong, mapped] = [IPV4, WHOLE, ELIDED, TOO_LONG, MAPPED].map(
  (pattern) => new RegExp(pattern),
) as [RegExp, RegExp, RegExp, RegExp, RegExp];

/** The same here. */
export const isIP = (value: string): boolean =>
  ipv4.test(value) || ((whole.test(value) || (elided.test(value) && !tooLong.test(value))) && !mapped.test(value));
