// Writes the config file of a test from plain objects: tables at the top, everything below inline.

/** `{listen: {...}, providers: {a: {...}}, routes: [{...}]}` → TOML. */
export function toml(config) {
  const lines = [];
  const tables = [];
  for (const [key, value] of Object.entries(config)) {
    if (value === undefined) continue;
    if (Array.isArray(value)) for (const each of value) tables.push(`[[${key}]]`, ...pairs(each));
    else if (typeof value !== 'object') lines.push(`${key} = ${inline(value)}`);
    else if (['vaults', 'providers', 'templates', 'callers'].includes(key)) {
      for (const [name, table] of Object.entries(value)) tables.push(`[${key}.${JSON.stringify(name)}]`, ...pairs(table));
    } else tables.push(`[${key}]`, ...pairs(value));
  }
  return `${[...lines, ...tables].join('\n')}\n`;
}

function pairs(table) {
  return Object.entries(table).filter(([, value]) => value !== undefined).map(([key, value]) => `${JSON.stringify(key)} = ${inline(value)}`);
}

function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  if (typeof value === 'object') return `{ ${pairs(value).join(', ')} }`;
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
