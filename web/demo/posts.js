// The posts with their hearts. What is shown comes from the live events; a click only sends the like.

import { animate, byId, element, notify, plural, setText } from './dom.js';
import { viaFetch, viaXhr } from './calls.js';
import { visitor } from './visitor.js';

const POSTS_SHOWN_MAX = 12;
const HEART = 'M12 20.6 4.3 13a5.2 5.2 0 0 1 7.4-7.4l.3.4.3-.4A5.2 5.2 0 0 1 19.7 13z';

export class Posts {
  #wire;
  #live;
  #cards = new Map();
  #snapshot = new Set();

  constructor(wire, live) {
    this.#wire = wire;
    this.#live = live;
    live.addEventListener('change', ({ detail }) => this.#happened(detail));
  }

  /** The list, with what this visitor likes. */
  async load() {
    const { data } = await viaFetch(this.#wire, 'GET', `/v1/posts?liker=${encodeURIComponent(visitor.id)}`);
    for (const post of data.posts ?? []) {
      this.#show(post);
      this.#cards.get(post.id)?.setLiked(post.liked ?? false);
    }
  }

  #happened({ kind, post, sequence }) {
    if (kind === 'SNAPSHOT') {
      this.#snapshot.add(post.id);
      this.#show(post);
      // The last event of a snapshot is the one with a sequence: what it did not name is gone.
      if (sequence === undefined || sequence === '0') return;
      for (const id of this.#cards.keys()) if (!this.#snapshot.has(id)) this.#remove(id);
      this.#snapshot.clear();
      this.load().catch(notify); // a restarted backend has forgotten who likes what
      return;
    }
    this.#show(post);
    if (kind === 'LIKED') this.#cards.get(post.id)?.ripple();
  }

  #show(post) {
    const card = this.#cards.get(post.id);
    if (card) return card.update(post);
    const shown = byId('posts').children;
    const newer = (other) => Number(other.dataset.post) > Number(post.id);
    if (shown.length >= POSTS_SHOWN_MAX && [...shown].every(newer)) return undefined;
    const made = new Card(post, (liked) => this.#toggle(post.id, liked));
    this.#cards.set(post.id, made);
    // The newest first.
    byId('posts').insertBefore(made.root, [...shown].find((other) => !newer(other)) ?? null);
    while (shown.length > POSTS_SHOWN_MAX) this.#remove(shown[shown.length - 1].dataset.post);
    return undefined;
  }

  #remove(id) {
    this.#cards.get(id)?.root.remove();
    this.#cards.delete(id);
  }

  async #toggle(id, liked) {
    const card = this.#cards.get(id);
    card.setLiked(liked); // at once; the count waits for the backend
    const call = document.querySelector('input[name=via]:checked').value === 'xhr' ? viaXhr : viaFetch;
    try {
      const path = `/v1/posts/${encodeURIComponent(id)}:${liked ? 'like' : 'unlike'}`;
      const { data } = await call(this.#wire, 'POST', path, { body: { liker: visitor.id } });
      card.setLiked(data.liked ?? false);
      // With a live stream the count comes through it, in the order in which things happened.
      if (this.#live.state !== 'live') card.update(data);
    } catch (failure) {
      card.setLiked(!liked);
      notify(failure);
    }
  }
}

/** One post on the page. */
class Card {
  #likes;
  #title;
  #count = element('span', { class: 'count' });
  #heart;

  constructor(post, toggle) {
    this.#title = post.title;
    this.#heart = element('button', { type: 'button', class: 'heart', 'aria-pressed': 'false' }, icon(), this.#count);
    this.#heart.addEventListener('click', () => toggle(this.#heart.getAttribute('aria-pressed') !== 'true'));
    const picture = element('img', {
      src: `/v1/posts/${encodeURIComponent(post.id)}/picture`, alt: '', loading: 'lazy', width: 400, height: 300,
    });
    this.root = element('li', { class: 'post card', 'data-post': post.id },
      element('div', { class: 'picture' }, picture),
      element('div', { class: 'post-body' },
        element('div', {}, element('h3', {}, post.title), element('p', { class: 'quiet' }, post.author)),
        this.#heart));
    this.update(post);
  }

  update(post) {
    const likes = post.likes ?? 0; // JSON leaves out what is zero
    if (this.#likes !== undefined && likes !== this.#likes) animate(this.#count, likes > this.#likes ? 'rises' : 'falls');
    this.#likes = likes;
    setText(this.#count, String(likes));
    this.#heart.setAttribute('aria-label', `Like “${this.#title}”, ${plural(likes, 'like')}`);
  }

  setLiked(liked) {
    this.#heart.setAttribute('aria-pressed', String(liked));
  }

  ripple() {
    animate(this.#heart, 'rippled');
  }
}

function icon() {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  const path = document.createElementNS(space, 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', HEART);
  svg.append(path);
  return svg;
}
