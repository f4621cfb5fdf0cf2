// The page as a whole: the door, or list, conversation and what lies beside it.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { hurry } from '../link'
import { login } from '../login'
import { go, route } from '../route'
import { show as load } from '../session'
import { conversations, link, loaded, notice, setConversation, spoken } from '../state'
import { t } from '../words'
import { Confirm } from './Confirm'
import { Details } from './Details'
import { Icon } from './Icon'
import { List } from './List'
import { Search } from './Search'
import { SignIn } from './SignIn'
import { ThreadView } from './ThreadView'

export function App() {
  return (
    <>
      {login.value ? <Inside /> : <SignIn />}
      <Notice />
      <Confirm />
      <div class="unseen" role="status" aria-live="polite">
        {spoken.value}
      </div>
    </>
  )
}

type Side = 'details' | 'search' | null

function Inside() {
  const [side, setSide] = useState<Side>(null)
  const opener = useRef<Element | null>(null)
  const show = (next: Side) => {
    if (!side) opener.current = document.activeElement
    setSide(next)
  }
  /** Closes what lies beside; the focus goes back to where it was, or to where one writes. */
  const close = () => {
    setSide(null)
    // On a phone the keyboard would come up.
    const places = [...(matchMedia('(hover: hover)').matches ? ['.composer textarea'] : []), '.messages', '.list .bar button']
    for (const el of [opener.current, ...places.map((p) => document.querySelector(p))]) {
      if (!(el instanceof HTMLElement) || el === document.body || el.closest('.side')) continue
      el.focus()
      if (document.activeElement === el) return
    }
  }
  const at = route.value
  const ready = loaded.value === 'ready'
  useEffect(() => {
    if (!at || !ready) return
    // An address that somebody was given: a conversation that may not exist yet.
    if (!conversations.value.has(at)) setConversation(at, {})
    void load(at)
  }, [at, ready])
  // Before it is drawn: whoever sees it may close it, by key too.
  useLayoutEffect(() => {
    if (side === 'details') document.querySelector<HTMLElement>('.side .bar button')?.focus()
  }, [side])
  useLayoutEffect(() => {
    const keys = (e: KeyboardEvent) => {
      if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k') {
        e.preventDefault()
        show('search')
      } else if (e.key === 'Escape' && side && !e.defaultPrevented && !document.querySelector('dialog[open]')) close()
    }
    addEventListener('keydown', keys)
    return () => removeEventListener('keydown', keys)
  }, [side])
  return (
    <div class={`inside${at ? ' with-thread' : ''}${side === 'search' || (side && at) ? ' with-side' : ''}`}>
      <Connection />
      <div class="panes">
        <List onSearch={() => (side === 'search' ? close() : show('search'))} />
        {at ? (
          <ThreadView key={at} of={at} onDetails={() => (side === 'details' ? close() : show('details'))} onSearch={() => show('search')} />
        ) : (
          <main class="thread nothing">
            <div class="empty">
              <Icon name="bubble" size={40} />
              <h2>{t('pickTitle')}</h2>
              <p>{t('pickText')}</p>
            </div>
          </main>
        )}
        {side === 'search' && <Search within={at} onClose={close} onFound={() => setSide(null)} />}
        {side === 'details' && at && <Details key={at} of={at} onClose={close} onGone={() => go(null)} />}
      </div>
    </div>
  )
}

/** Tells when there is no connection, after a moment: a short break is nobody's business. */
function Connection() {
  const state = link.value
  const [shown, setShown] = useState(false)
  useEffect(() => {
    if (state === 'online') return setShown(false)
    const timer = setTimeout(() => setShown(true), state === 'offline' ? 300 : 2500)
    return () => clearTimeout(timer)
  }, [state])
  return (
    <div class={`connection${shown ? ' shown' : ''}`} role="status">
      {shown && (
        <>
          <span>{t(state === 'offline' ? 'offline' : 'connecting')}</span>
          {state === 'offline' && (
            <button type="button" class="link" onClick={hurry}>
              {t('retryNow')}
            </button>
          )}
        </>
      )}
    </div>
  )
}

function Notice() {
  const n = notice.value
  const ref = useRef<HTMLDivElement>(null)
  // A popover that is shown anew stands before a dialogue that is open.
  useLayoutEffect(() => {
    const el = ref.current
    if (!n || !el?.showPopover) return
    if (el.matches(':popover-open')) el.hidePopover()
    el.showPopover()
  }, [n])
  useEffect(() => {
    if (!n) return
    const timer = setTimeout(() => notice.value === n && (notice.value = null), 5000)
    return () => clearTimeout(timer)
  }, [n])
  return (
    <div ref={ref} class="notices" popover="manual" role="status" aria-live="polite">
      {n && (
        <div key={n.n} class={`notice${n.bad ? ' bad' : ''}`}>
          {n.text}
        </div>
      )}
    </div>
  )
}

