// A person's or a room's sign: the beginning of the name on a colour of its own.
import { isRoom, type Key, nameOf } from '../model'
import { titleOf } from '../notify'
import { presences } from '../people'
import { t } from '../words'

const colours = 8

function colourOf(name: string): number {
  let h = 0
  for (const c of name) h = (h * 31 + c.codePointAt(0)!) >>> 0
  return h % colours
}

const initial = (title: string): string => (Array.from(title.trim())[0] ?? '?').toLocaleUpperCase()

export function Avatar({ of, small = false }: { of: Key; small?: boolean }) {
  const online = !isRoom(of) && presences.value.get(nameOf(of))?.online === true
  return (
    <span class={`avatar c${colourOf(of)}${small ? ' small' : ''}${isRoom(of) ? ' square' : ''}`}>
      <span aria-hidden="true">{initial(titleOf(of))}</span>
      {online && <span class="dot" role="img" aria-label={t('online')} />}
    </span>
  )
}
