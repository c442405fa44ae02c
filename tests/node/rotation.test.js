// The rotation drill in CI: fifty changes of a credential at each of two services, one with a login, under load.
import { test } from 'node:test';

import { drill, judge, judgeVaultFirst, vaultFirstDrill } from './drill.js';

test('fifty rotations under load: no message lost or sent twice, no dead credential sent again', { timeout: 600_000 }, async (t) => {
  judge(t, await drill(t, { rotations: 50 }));
});

for (const service of ['playmobile', 'eskiz']) {
  test(`${service} alone, the vault changed before the service: no message lost`, { timeout: 300_000 }, async (t) => {
    judgeVaultFirst(t, await vaultFirstDrill(t, { rotations: 5, service }));
  });
}
