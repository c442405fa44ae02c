// Fetches the page again and applies the changes node by node, so that focus, selection and the position of a
// screen reader stay the same. A failed fetch is shown, because an old page must not look like a current one.
// Adds the time of the reader's own time zone to each time, which the page itself shows in UTC, and a button to each
// command.
'use strict';
(() => {
  const EVERY = 2000;
  const main = document.getElementById('main');
  const fresh = document.getElementById('fresh');
  const asOf = document.getElementById('asof');

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const two = (number) => String(number).padStart(2, '0');
  const dayOf = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

  /** `21:20:05`, after the date if that is not the one of the time in UTC. */
  function localTime(at) {
    const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':');
    return dayOf(at) === at.toISOString().slice(0, 10) ? clock : `${dayOf(at)} ${clock}`;
  }

  /** Adds local times to a page as the server wrote it: `16:20:05 UTC (21:20:05 local, 3 min ago)`. */
  function addLocalTimes(page) {
    for (const time of page.querySelectorAll('time')) {
      const at = new Date(time.dateTime);
      const beside = time.querySelector('.beside');
      if (!beside || Number.isNaN(at.getTime()) || at.getTimezoneOffset() === 0) continue;
      const distance = beside.textContent.slice(2, -1);
      beside.textContent = ` (${[`${localTime(at)} local`, distance].filter(Boolean).join(', ')})`;
    }
    const note = page.getElementById('zone');
    if (note && new Date().getTimezoneOffset() !== 0) note.textContent = `; local is ${zone}`;
    return page;
  }

  /** Adds a button to each command as the server wrote it. */
  function addCopyButtons(page) {
    for (const command of page.querySelectorAll('.command')) {
      const button = page.createElement('button');
      button.type = 'button';
      button.textContent = 'Copy';
      const what = page.createElement('span');
      what.className = 'hidden';
      what.textContent = ' the command';
      button.append(what);
      command.append(button);
    }
    return page;
  }

  /** Copies by the selection where the clipboard is closed: off loopback without TLS. */
  async function copyText(code) {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand('copy');
    }
  }

  /** The button says what happened until the next update of the page. */
  async function copyCommand(event) {
    const button = event.target.closest('.command button');
    if (!button) return;
    const result = await copyText(button.parentElement.querySelector('code')) ? 'Copied' : 'Press Ctrl+C';
    button.firstChild.nodeValue = result;
    document.getElementById('copied').textContent = `${result}.`;
  }

  const enhance = (page) => addCopyButtons(addLocalTimes(page));

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
      const next = enhance(new DOMParser().parseFromString(await answer.text(), 'text/html'));
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
  enhance(document);
  main.addEventListener('click', copyCommand);
  document.addEventListener('visibilitychange', again);
  again();
})();
