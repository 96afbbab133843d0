/** The autossh whose interface this is; scripts read the first two words of -V. */
export const VERSION = `autossh 1.4g (autossh-operator ${process.env['AUTOSSH_OPERATOR_VERSION'] ?? 'development'})`;

export const USAGE = `usage: autossh [-V] [-M monitor_port[:echo_port]] [-f] [ssh options] host [command]

  -M   port for the heartbeat: port and port+1 here, port on the server. With :echo_port an echo
       service on the server (usually port 7) answers it. 0: no heartbeat. auto, or no -M at all:
       a heartbeat through a port that the server chooses. AUTOSSH_PORT wins over -M.
  -f   run in the background; the first failure is then not the last.
  -V   print the version.

Environment (seconds, where a time is meant):
  AUTOSSH_GATETIME     the first ssh must live this long, or autossh gives up (30; 0: never)
  AUTOSSH_POLL         time between heartbeats (600)
  AUTOSSH_FIRST_POLL   time before the first heartbeat (AUTOSSH_POLL)
  AUTOSSH_PORT         as -M
  AUTOSSH_MAXSTART     how many times ssh may be started (-1: without end)
  AUTOSSH_MAXLIFETIME  how long autossh may live (0: for ever)
  AUTOSSH_MESSAGE      appended to the heartbeat (at most 64 bytes)
  AUTOSSH_PATH         the ssh to run (/usr/bin/ssh)
  AUTOSSH_PIDFILE      write the pid to this file
  AUTOSSH_LOGFILE      append the log to this file (default: syslog)
  AUTOSSH_LOGLEVEL     0 to 7 as in syslog (6)
  AUTOSSH_DEBUG        log everything, to stderr too
`;
