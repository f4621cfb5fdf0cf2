// Search: what is found leads to its place in the history.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import * as api from '../api'
import { login, Refused } from '../login'
import { conversationOf, isRoom, type Key, type Message } from '../model'
import { preview, titleOf } from '../notify'
import { nameFor } from '../people'
import { go, route } from '../route'
import { sentence, t, whenOf } from '../words'
import { Avatar } from './Avatar'
import { Icon } from './Icon'
import { lead } from './ThreadView'

interface Found {
  text: string
  messages: Message[]
  more: boolean
}

interface Props {
  within: Key | null
  onClose: () => void
  /** The place in the history has the focus, and needs the room on a small screen. */
  onFound: () => void
}

export function Search({ within, onClose, onFound }: Props) {
  const [text, setText] = useState('')
  const [here, setHere] = useState(false)
  const [found, setFound] = useState<Found | null>(null)
  const [fault, setFault] = useState('')
  const field = useRef<HTMLInputElement>(null)
  const scope = here ? within : null
  useLayoutEffect(() => field.current?.focus(), [])
  useEffect(() => {
    const wanted = text.trim()
    setFault('')
    if (!wanted) return setFound(null)
    let old = false
    const timer = setTimeout(() => {
      void api
        .search(wanted, scope)
        .then((r) => old || setFound({ text: wanted, messages: r.messages, more: r.has_more }))
        .catch((e) => old || setFault(sentence(e instanceof Refused ? e.code : undefined)))
    }, 250)
    return () => {
      old = true
      clearTimeout(timer)
    }
  }, [text, scope])
  const more = async () => {
    if (!found) return
    const r = await api.search(found.text, scope, found.messages.at(-1)?.id).catch(() => null)
    if (r) setFound({ ...found, messages: [...found.messages, ...r.messages], more: r.has_more })
  }
  return (
    <aside class="side" aria-label={t('search')}>
      <header class="bar">
        <label class="search-box">
          <Icon name="search" />
          <span class="unseen">{t(scope ? 'searchHere' : 'searchAll')}</span>
          <input ref={field} type="search" value={text} placeholder={t(scope ? 'searchHere' : 'searchAll')} onInput={(e) => setText(e.currentTarget.value)} />
        </label>
        <button type="button" class="round" aria-label={t('close')} title={t('close')} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {within && (
        <div class="scopes">
          <button type="button" aria-pressed={!here} onClick={() => setHere(false)}>
            {t('everywhere')}
          </button>
          <button type="button" aria-pressed={here} onClick={() => setHere(true)}>
            {t('here')}
          </button>
        </div>
      )}
      <div class="side-body" role="region" aria-live="polite" aria-label={t('search')} tabIndex={0}>
        {fault && <p class="fault">{fault}</p>}
        {!text.trim() && <p class="quiet hint">{t('searchHint')}</p>}
        {found?.messages.length === 0 && <p class="quiet">{t('nothingFound', { text: found.text })}</p>}
        <ul class="plain">
          {found?.messages.map((m) => (
            <li key={m.id}>
              <Hit m={m} onGo={() => matchMedia('(max-width: 1100px)').matches && onFound()} />
            </li>
          ))}
        </ul>
        {found?.more && (
          <button type="button" class="link wide" onClick={() => void more()}>
            {t('more')}
          </button>
        )}
      </div>
    </aside>
  )
}

function Hit({ m, onGo }: { m: Message; onGo: () => void }) {
  const me = login.value?.user ?? ''
  const key = conversationOf(m, me)
  const enter = async () => {
    if (route.value !== key) {
      go(key)
      // The conversation is on its way to the screen; the jump comes after it.
      await new Promise((drawn) => setTimeout(drawn))
    }
    await lead(key, m.id)
    onGo()
  }
  return (
    <button type="button" class="row hit" onClick={() => void enter()}>
      <Avatar of={key} small />
      <span class="row-text">
        <span class="row-top">
          <span class="row-name" dir="auto">
            {m.from === me ? t('you') : nameFor(m.from)}
            {(m.from === me || isRoom(key)) && <span class="quiet"> · {titleOf(key)}</span>}
          </span>
          <time dateTime={m.sent_at}>{whenOf(m.sent_at)}</time>
        </span>
        <span class="hit-text">{preview(m)}</span>
      </span>
    </button>
  )
}
