import '../supervisor/sigusr1.ts';
import { runDropIn } from '../supervisor/drop-in.ts';

process.title = 'autossh';
void runDropIn(process.argv.slice(2), process.env).then((code) => process.exit(code));
