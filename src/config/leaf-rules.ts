// What the values of [leaf] and [[kv_mirror]] must be to each other and to the rest.

import { checkServers, distinct } from './checks.ts';
import type { Problems } from './problems.ts';
import type { ConfigDraft } from './rules.ts';

export function checkLeaf(draft: ConfigDraft, problems: Problems): void {
  const { leaf } = draft;
  if (leaf !== undefined) {
    const { url: servers = [], tls, domain, exports = [] } = leaf;
    checkServers('leaf', { key: 'url', servers, tls: tls !== undefined }, problems);
    if (domain !== undefined)
      for (const [i, subject] of exports.entries())
        if (subject.startsWith(`$JS.${domain}.`))
          problems.add(
            `leaf.exports[${i + 1}]`,
            `found "${subject}", the API of this gateway itself (domain, ${problems.where('leaf.domain')}), ` +
              'expected the domain of the hub in it; what the hub asks of this gateway needs no entry',
          );
  }
  checkMirrors(draft, problems);
}

function checkMirrors(
  { leaf, kv_mirror: mirrors, stream, gateway }: ConfigDraft,
  problems: Problems,
): void {
  distinct(mirrors, 'kv_mirror', 'bucket', problems);
  const own = leaf?.domain ?? gateway?.name;
  for (const [i, { bucket, domain }] of mirrors.entries()) {
    const path = `kv_mirror[${i + 1}]`;
    if (!problems.isWritten('leaf'))
      problems.add(path, 'found without [leaf], expected a [leaf] with the url of the hub');
    else if (!problems.isWritten('leaf.domain'))
      problems.add(path, 'found without a domain of [leaf], expected one: a mirror is JetStream');
    if (domain !== undefined && domain === own)
      problems.add(
        `${path}.domain`,
        `found "${domain}", the domain of this gateway, expected the one of the hub (\`jetstream { domain: … }\` in its configuration)`,
      );
    const taken = stream.findIndex(({ name }) => bucket !== undefined && name === `KV_${bucket}`);
    if (taken >= 0)
      problems.add(
        `${path}.bucket`,
        `found "${bucket}", whose stream KV_${bucket} is a [[stream]] (${problems.where(`stream[${taken + 1}].name`)}), expected another name for one of them`,
      );
  }
}
