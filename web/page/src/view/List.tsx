// The list of conversations.
import { useState } from 'preact/hooks'
import { login } from '../login'
import { type Conversation, isRoom, type Key, keyOf, nameOf } from '../model'
import { preview, titleOf } from '../notify'
import { nameFor } from '../people'
import { drafts } from '../prefs'
import { route } from '../route'
import { moreOfTheList, refresh } from '../session'
import { loaded, moreConversations, pending, rooms, sorted, typing } from '../state'
import { t, whenOf } from '../words'
import { Avatar } from './Avatar'
import { Icon } from './Icon'
import { NewDialog } from './NewDialog'
import { Settings } from './Settings'
import { Mark } from './Mark'
import { stage } from '../entries'

export function List({ onSearch }: { onSearch: () => void }) {
  const [open, setOpen] = useState<'new' | 'settings' | null>(null)
  return (
    <nav class="list" aria-label={t('conversations')}>
      <header class="bar">
        <h1>Postbox</h1>
        <button type="button" class="round" title={t('search')} aria-label={t('search')} onClick={onSearch}>
          <Icon name="search" />
        </button>
        <button type="button" class="round" title={t('settings')} aria-label={t('settings')} onClick={() => setOpen('settings')}>
          <Icon name="gear" />
        </button>
        <button type="button" class="round strong" title={t('newConversation')} aria-label={t('newConversation')} onClick={() => setOpen('new')}>
          <Icon name="plus" />
        </button>
      </header>
      <Rows onNew={() => setOpen('new')} />
      {open === 'new' && <NewDialog onClose={() => setOpen(null)} />}
      {open === 'settings' && <Settings onClose={() => setOpen(null)} />}
    </nav>
  )
}

function Rows({ onNew }: { onNew: () => void }) {
  if (loaded.value === 'loading') return <Skeleton />
  if (loaded.value === 'failed') {
    return (
      <div class="empty" role="alert">
        <Icon name="alert" size={32} />
        <h2>{t('loadFailedTitle')}</h2>
        <p>{t('loadFailedText')}</p>
        <button type="button" class="secondary" onClick={() => void refresh(false)}>
          {t('retryLoading')}
        </button>
      </div>
    )
  }
  if (sorted.value.length === 0) {
    return (
      <div class="empty">
        <Icon name="bubble" size={32} />
        <h2>{t('emptyListTitle')}</h2>
        <p>{t('emptyListText')}</p>
        <p>{t('foundAs', { user: login.value?.user ?? '' })}</p>
        <button type="button" class="primary" onClick={onNew}>
          {t('newConversation')}
        </button>
      </div>
    )
  }
  return (
    <ul class="rows" onKeyDown={arrows}>
      {sorted.value.map((c) => (
        <Row key={keyOf(c)} c={c} />
      ))}
      {moreConversations.value && (
        <li>
          <button type="button" class="link wide" onClick={() => void moreOfTheList()}>
            {t('more')}
          </button>
        </li>
      )}
    </ul>
  )
}

/** Up and down go from row to row. */
function arrows(e: KeyboardEvent): void {
  if (e.key !== 'ArrowDown' && e.key !== 'ArrowUp') return
  const here = (e.target as HTMLElement).closest('li')
  const next = e.key === 'ArrowDown' ? here?.nextElementSibling : here?.previousElementSibling
  const link = next?.querySelector<HTMLElement>('a, button')
  if (!link) return
  e.preventDefault()
  link.focus()
}

function Row({ c }: { c: Conversation }) {
  const key = keyOf(c)
  const me = login.value?.user ?? ''
  const here = route.value === key
  const name = key === `u/${me}` ? t('notes') : titleOf(key)
  return (
    <li>
      <a href={'#/' + key} class={`row${here ? ' here' : ''}${c.unread > 0 ? ' unread' : ''}`} aria-current={here ? 'page' : undefined}>
        <Avatar of={key} />
        <span class="row-text">
          <span class="row-top">
            <span class="row-name" dir="auto">
              {name}
            </span>
            {c.last && <time dateTime={c.last.sent_at}>{whenOf(c.last.sent_at)}</time>}
          </span>
          <span class="row-bottom">
            <span class="row-last">
              <Below c={c} of={key} />
            </span>
            {c.unread > 0 && (
              <span class="badge">
                <span aria-hidden="true">{c.unread > 99 ? '99+' : c.unread}</span>
                <span class="unseen">{t('unread', { n: c.unread })}</span>
              </span>
            )}
          </span>
        </span>
      </a>
    </li>
  )
}

function Below({ c, of }: { c: Conversation; of: Key }) {
  const me = login.value?.user ?? ''
  const writing = [...(typing.value.get(of)?.keys() ?? [])]
  if (writing.length > 0) return <span class="accent">{writing.length === 1 ? t('typing1', { who: nameFor(writing[0]!) }) : t('typing2')}</span>
  const draft = route.value === of ? '' : drafts.get(me, of)
  if (draft) {
    return (
      <>
        <span class="accent">{t('draft')}</span> {draft}
      </>
    )
  }
  const waiting = pending.value.findLast((p) => p.conversation === of && !p.stored)
  if (waiting) {
    return (
      <>
        <Mark stage={waiting.refused ? 'refused' : 'pending'} /> {waiting.body}
      </>
    )
  }
  if (!c.last) return <>{isRoom(of) ? t((rooms.value.get(nameOf(of))?.member_count ?? 0) === 1 ? 'member1' : 'members', { n: rooms.value.get(nameOf(of))?.member_count ?? '' }) : ''}</>
  const own = c.last.from === me
  return (
    <>
      {own && !isRoom(of) && of !== `u/${me}` && !c.last.retracted && <Mark stage={stage(c.last, of)} />}
      {isRoom(of) && `${own ? t('you') : nameFor(c.last.from)}: `}
      {preview(c.last)}
    </>
  )
}

function Skeleton() {
  return (
    <div class="rows" role="status" aria-label={t('loading')}>
      {[70, 45, 60, 35, 55].map((w, i) => (
        <div key={i} class="row ghost" aria-hidden="true">
          <span class="avatar" />
          <span class="row-text">
            <i class={`w${w}`} />
            <i class="w80" />
          </span>
        </div>
      ))}
    </div>
  )
}
