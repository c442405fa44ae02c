// Fetches the page again and applies the changes node by node, so that focus, selection and the position of a
// screen reader stay the same. A failed fetch is shown, because an old page must not look like a current one.
'use strict';
(() => {
  const EVERY = 2000;
  const main = document.getElementById('main');
  const fresh = document.getElementById('fresh');
  const asOf = document.getElementById('asof');

  /** Makes `old` equal to `next`, and leaves equal nodes untouched. */
  function take(old, next) {
    if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) {
      old.replaceWith(document.importNode(next, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const [mine, theirs] = [[...old.childNodes], [...next.childNodes]];
    theirs.forEach((child, at) => (mine[at] ? take(mine[at], child) : old.append(document.importNode(child, true))));
    mine.slice(theirs.length).forEach((child) => child.remove());
  }

  /** Changes the text only if it differs, because screen readers announce this line. */
  function say(text, stale) {
    if (fresh.textContent !== text) fresh.textContent = text;
    document.body.classList.toggle('stale', stale);
  }

  async function ask() {
    try {
      const answer = await fetch('/', { cache: 'no-store', signal: AbortSignal.timeout(10 * EVERY) });
      if (!answer.ok) throw new Error(`${answer.status}`);
      const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
      take(main, next.getElementById('main'));
      document.title = next.title;
      take(asOf, next.getElementById('asof'));
      say('Live', false);
    } catch {
      say('No answer from the sidecar; what you see is old', true);
    }
  }

  let waiting;
  function again() {
    clearTimeout(waiting);
    if (document.hidden) return;
    ask().finally(() => { waiting = setTimeout(again, EVERY); });
  }
  document.addEventListener('visibilitychange', again);
  again();
})();
