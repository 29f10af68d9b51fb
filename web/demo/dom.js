// Small helpers for the page's elements. Text is always set as text, never as markup.

/** An element with properties (`class`, `data-*`, `aria-*` and events as `onclick`) and children. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Sets text only where it differs, so that live regions do not repeat themselves. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Starts a CSS animation again by its class. */
export function animate(target, name) {
  target.classList.remove(name);
  void target.offsetWidth; // a style flush between the two, or the animation would not start anew
  target.classList.add(name);
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1000).toFixed(count < 10_000 ? 1 : 0)} kB`;
  return `${(count / 1_000_000).toFixed(1)} MB`;
}

export function duration(milliseconds) {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(0)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

export function clock(date) {
  return date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

const notices = () => byId('notices');
const NOTICES_MAX = 3;

/** Shows a failure: the code's name, and the text as it came. */
export function notify(failure) {
  const close = element('button', { type: 'button', class: 'notice-close', 'aria-label': 'Dismiss' }, '×');
  const notice = element('div', { class: 'notice' },
    element('div', {}, element('b', {}, failure.codeName ?? 'Failed'), element('p', {}, failure.message), close));
  const remove = () => notice.remove();
  close.addEventListener('click', remove);
  setTimeout(remove, 8000);
  notices().append(notice);
  while (notices().children.length > NOTICES_MAX) notices().firstChild.remove();
}
