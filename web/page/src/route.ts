// Which conversation is shown: the address behind the #, so that back and forward,
// bookmarks and links work.
import { signal } from '@preact/signals'
import type { Key } from './model'
import { isName } from './model'

function parse(): Key | null {
  let at = location.hash.slice(2)
  try {
    at = decodeURIComponent(at)
  } catch {
    return null
  }
  return /^[ur]\//.test(at) && isName(at.slice(2)) ? (at as Key) : null
}

export const route = signal<Key | null>(parse())
addEventListener('hashchange', () => (route.value = parse()))

export function go(key: Key | null): void {
  const to = key ? '#/' + key : '#/'
  if (location.hash !== to) location.hash = to
}

/** The invitation that a link brings along: #/invite=… */
export const invitation = (): string => /^#\/?invite=(.+)$/.exec(location.hash)?.[1] ?? ''
