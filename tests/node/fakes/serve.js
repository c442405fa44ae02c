// One fake as a program: `node fakes/serve.js playmobile [port] [control port]`; prints both addresses.
import { SERVICES } from './index.js';

const [name, port = '0', control = '0'] = process.argv.slice(2);
if (!SERVICES[name]) {
  console.error(`one of ${Object.keys(SERVICES).join(' ')}`);
  process.exit(2);
}
const [Kind, credential] = SERVICES[name];
const running = await new Kind({ credential }).listen(Number(port));
await running.listenControl(Number(control));
console.log(JSON.stringify({ base: running.base, control: `http://127.0.0.1:${running.controlPort}` }));
