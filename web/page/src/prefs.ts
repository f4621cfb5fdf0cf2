// Choices of this browser: how the page looks. They are no business of the server.
import { effect, signal } from '@preact/signals'

export type Theme = 'auto' | 'light' | 'dark'

export const theme = signal<Theme>((localStorage.getItem('postbox.theme') as Theme | null) ?? 'auto')

effect(() => {
  const root = document.documentElement
  if (theme.value === 'auto') {
    delete root.dataset['theme']
    localStorage.removeItem('postbox.theme')
  } else {
    root.dataset['theme'] = theme.value
    localStorage.setItem('postbox.theme', theme.value)
  }
})

/** What was typed and not sent, by conversation; kept over reloads. */
export const drafts = {
  get: (user: string, key: string): string => localStorage.getItem(`postbox.draft.${user}.${key}`) ?? '',
  set(user: string, key: string, text: string): void {
    const slot = `postbox.draft.${user}.${key}`
    if (text) localStorage.setItem(slot, text)
    else localStorage.removeItem(slot)
  },
  clear(user: string): void {
    for (const slot of Object.keys(localStorage)) if (slot.startsWith(`postbox.draft.${user}.`)) localStorage.removeItem(slot)
  },
}
