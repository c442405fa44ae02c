// What Grafana requires of a dashboard: the fields, kinds and bounds of the published kind (grafana/grafana,
// kinds/dashboard/dashboard_kind.cue), and common import errors. Returns what is wrong.
const PANELS = { row: [], timeseries: ['legend', 'tooltip'], stat: ['reduceOptions', 'colorMode', 'graphMode', 'orientation', 'textMode'], table: ['showHeader'] };
const COLOURS = ['thresholds', 'palette-classic', 'palette-saturated', 'continuous-GrYlRd', 'fixed'];
const UNITS = ['short', 's', 'd', 'percentunit', 'cps'];
const TRANSFORMATIONS = ['organize', 'merge'];
/** Names that Grafana fills in by itself. */
const BUILT_IN = /^__(rate_interval|range|interval|field|data|all)\b/;

export function faults(dashboard) {
  const wrong = [];
  const must = (holds, what) => { if (!holds) wrong.push(what); };
  const is = (value, type, what) => must(type === 'array' ? Array.isArray(value) : typeof value === type && value !== null, `${what} is no ${type}`);

  is(dashboard.title, 'string', 'title');
  must(/^[\w-]{8,40}$/.test(dashboard.uid), 'uid has no 8 to 40 plain characters');
  must(dashboard.id === null, 'id belongs to one Grafana');
  must(Number.isInteger(dashboard.schemaVersion) && dashboard.schemaVersion >= 36 && dashboard.schemaVersion < 65_536, 'schemaVersion');
  must(['light', 'dark'].includes(dashboard.style), 'style');
  must([0, 1, 2].includes(dashboard.graphTooltip), 'graphTooltip');
  is(dashboard.editable, 'boolean', 'editable');
  is(dashboard.tags, 'array', 'tags');
  for (const end of ['from', 'to']) must(/^now(-\d+[mhd])?$/.test(dashboard.time?.[end]), `time.${end}`);
  must(/^\d+[smh]$/.test(dashboard.refresh), 'refresh');

  const variables = dashboard.templating.list;
  unique(variables.map(({ name }) => name), 'variable', wrong);
  for (const variable of variables) variableFaults(variable, variables, must);
  for (const annotation of dashboard.annotations.list) {
    for (const key of ['name', 'iconColor']) is(annotation[key], 'string', `annotation ${annotation.name}: ${key}`);
    is(annotation.enable, 'boolean', `annotation ${annotation.name}: enable`);
    if (!annotation.builtIn) must(byVariable(annotation.datasource) && annotation.expr && /^\d+s$/.test(annotation.step), `annotation ${annotation.name}: query`);
  }
  for (const link of dashboard.links) linkFaults(link, 'dashboard', must);

  unique(dashboard.panels.map(({ id }) => id), 'panel id', wrong);
  unique(dashboard.panels.map(({ title }) => title), 'panel title', wrong);
  for (const panel of dashboard.panels) panelFaults(panel, must);
  overlaps(dashboard.panels, wrong);

  const text = JSON.stringify({ ...dashboard, templating: undefined }) + JSON.stringify(variables.map(({ query }) => query));
  for (const { name } of variables) must(new RegExp(`\\$\\{?${name}\\b`).test(text), `variable ${name} is used nowhere`);
  for (const [, name] of text.matchAll(/\$\{?(\w+)/g)) must(BUILT_IN.test(name) || variables.some((it) => it.name === name), `$${name} is no variable`);
  return wrong;
}

function unique(values, what, wrong) {
  for (const value of values) if (values.filter((it) => it === value).length > 1 || value === undefined) wrong.push(`${what} ${value} is not unique`);
}

function byVariable(datasource) {
  return datasource?.type === 'prometheus' && datasource.uid === '${datasource}';
}

function variableFaults({ name, type, query, datasource, hide, current, options, skipUrlSync, includeAll, allValue }, variables, must) {
  const at = `variable ${name}`;
  must(/^\w+$/.test(name), `${at}: name`);
  must(['query', 'datasource', 'constant'].includes(type), `${at}: type`);
  must([0, 1, 2].includes(hide), `${at}: hide`);
  must(typeof skipUrlSync === 'boolean' && Array.isArray(options) && typeof current === 'object', `${at}: state`);
  if (type === 'query') must(byVariable(datasource) && /^label_values\(.+, \w+\)$/.test(query.query) && query.refId, `${at}: query`);
  if (type === 'query') must(!includeAll || allValue === '.*', `${at}: all must also match what is not listed`);
  if (type === 'datasource') must(query === 'prometheus', `${at}: query`);
  if (type === 'constant') must(current.value === query && options.length === 1 && options[0].value === query, `${at}: value`);
  must(type !== 'query' || variables.findIndex((it) => it.type === 'datasource') < variables.findIndex((it) => it.name === name), `${at} comes before its data source`);
}

function linkFaults({ title, type, icon, tooltip, url, tags }, at, must) {
  must(title && ['link', 'dashboards'].includes(type) && typeof icon === 'string' && typeof tooltip === 'string' && Array.isArray(tags), `${at}: link ${title}`);
  must(/^\$\{runbook\}/.test(url), `${at}: link ${title} leads to ${url}`);
}

function panelFaults(panel, must) {
  const at = `panel ${panel.title}`;
  must(Number.isInteger(panel.id) && panel.id > 0, `${at}: id`);
  must(panel.type in PANELS, `${at}: type ${panel.type}`);
  const { x, y, w, h } = panel.gridPos ?? {};
  must([x, y, w, h].every(Number.isInteger) && h > 0 && w > 0 && w <= 24 && x >= 0 && x + w <= 24 && y >= 0, `${at}: gridPos`);
  if (panel.type === 'row') return must(panel.collapsed === false && panel.panels?.length === 0, `${at}: an open row holds no panels`);
  must(panel.description?.length > 10, `${at}: description`);
  must(byVariable(panel.datasource), `${at}: datasource`);
  must(typeof panel.transparent === 'boolean' && Array.isArray(panel.transformations) && Array.isArray(panel.links), `${at}: lists`);
  for (const option of PANELS[panel.type] ?? []) must(option in panel.options, `${at}: options.${option}`);
  for (const { id, options } of panel.transformations) must(TRANSFORMATIONS.includes(id) && typeof options === 'object', `${at}: transformation ${id}`);
  for (const link of panel.links) linkFaults(link, at, must);
  fieldFaults(panel.fieldConfig, at, must);
  const refs = panel.targets.map(({ refId }) => refId);
  must(refs.length > 0 && new Set(refs).size === refs.length && refs.every((ref) => /^[A-Z]$/.test(ref)), `${at}: refIds ${refs}`);
  for (const target of panel.targets) {
    must(byVariable(target.datasource) && target.expr && typeof target.legendFormat === 'string', `${at}: target ${target.refId}`);
    must(target.instant !== target.range, `${at}: target ${target.refId} is instant or range`);
    must(panel.type === 'timeseries' ? target.range : target.instant, `${at}: a ${panel.type} of this kind of query`);
    must((target.format === 'table') === (panel.type === 'table'), `${at}: format ${target.format}`);
    must(target.expr.includes('$instance'), `${at}: not bound to the instance`);
  }
}

function fieldFaults({ defaults, overrides }, at, must) {
  must(UNITS.includes(defaults.unit), `${at}: unit ${defaults.unit}`);
  must(COLOURS.includes(defaults.color.mode), `${at}: colour ${defaults.color.mode}`);
  const { mode, steps } = defaults.thresholds;
  must(['absolute', 'percentage'].includes(mode) && steps[0].value === null, `${at}: the first threshold is minus infinity`);
  must(steps.every(({ color, value }, n) => color && (n < 2 || value > steps[n - 1].value)), `${at}: thresholds are sorted`);
  for (const { type, options } of defaults.mappings) must(type === 'value' && Object.values(options).every(({ text, color }) => text || color), `${at}: mapping`);
  for (const { matcher, properties } of overrides) must(matcher.id === 'byName' && matcher.options && properties.every(({ id, value }) => id && value !== undefined), `${at}: override`);
}

function overlaps(panels, wrong) {
  panels.forEach((a, n) => panels.slice(n + 1).forEach((b) => {
    const [p, q] = [a.gridPos, b.gridPos];
    if (p.x < q.x + q.w && q.x < p.x + p.w && p.y < q.y + q.h && q.y < p.y + p.h) wrong.push(`${a.title} lies over ${b.title}`);
  }));
}
