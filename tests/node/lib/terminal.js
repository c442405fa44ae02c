// Output of a command as a terminal shows it: ANSI colours in, a page with a terminal's look out.

const STYLES = { 1: 'font-weight:600;color:#f4f6f8', 2: 'color:#8b95a1', 31: 'color:#ff7b72', 32: 'color:#5bd07a', 33: 'color:#f2c14e' };
const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><style>
  body { margin: 0; padding: 24px; background: #fff; width: max-content; }
  .window { background: #14181d; border-radius: 10px; overflow: hidden; box-shadow: 0 6px 24px #0004; }
  .bar { background: #252b33; padding: 10px 14px; display: flex; gap: 8px; }
  .bar i { width: 12px; height: 12px; border-radius: 50%; background: #4a5360; }
  pre { margin: 0; padding: 16px 20px 20px; width: 108ch; white-space: pre-wrap; overflow-wrap: anywhere; color: #d5dbe1; font: 14px/1.45 "DejaVu Sans Mono", "Liberation Mono", monospace; }
</style><div class="window"><div class="bar"><i></i><i></i><i></i></div><pre>`;

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Lines that continue a fact are indented like its first words, so that the facts stay readable. */
function hung(line) {
  // eslint-disable-next-line no-control-regex
  const fact = /^(?: {6}(?:\u001b\[\d+m)*[a-z ]{10}(?:\u001b\[0m)? {2})(\d+\. )?/.exec(line);
  const indent = fact ? 18 + (fact[1]?.length ?? 0) : 2;
  return `<div style="padding-left:${indent}ch;text-indent:-${indent}ch;min-height:1lh">${coloured(line)}</div>`;
}

function coloured(line) {
  let open = 0;
  // eslint-disable-next-line no-control-regex
  const html = escaped(line).replace(/\u001b\[(\d+)m/g, (_, code) => {
    if (code === '0') return '</span>'.repeat(open).replace(/^/, () => { open = 0; return ''; });
    open += 1;
    return `<span style="${STYLES[code] ?? ''}">`;
  });
  return html + '</span>'.repeat(open);
}

/** A page that shows `command` at a prompt and `output` below it. */
export function terminalPage(command, output) {
  return `${PAGE}<div><span style="color:#8b95a1">$</span> ${escaped(command)}</div>${output.trimEnd().split('\n').map(hung).join('')}</pre></div></html>`;
}

/** The output without its colours. */
export function plain(output) {
  // eslint-disable-next-line no-control-regex
  return output.replace(/\u001b\[\d+m/g, '');
}
