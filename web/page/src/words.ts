// The language of the page: that of the browser until somebody chooses another.
import { computed, effect, signal } from '@preact/signals'
import { en, type Words } from './words.en'
import { zh } from './words.zh'

export type Language = 'en' | 'zh'
export const languages: Record<Language, Words> = { en, zh }

const slot = 'postbox.language'

function preferred(): Language {
  const chosen = localStorage.getItem(slot)
  if (chosen === 'en' || chosen === 'zh') return chosen
  for (const l of navigator.languages) {
    if (l.startsWith('zh')) return 'zh'
    if (l.startsWith('en')) return 'en'
  }
  return 'en'
}

export const language = signal<Language>(preferred())

export function choose(l: Language): void {
  localStorage.setItem(slot, l)
  language.value = l
}

effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en'
})

/** The words for key, with what stands in braces filled in. */
export function t(key: keyof Words, fill: Record<string, string | number> = {}): string {
  return languages[language.value][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(fill[name] ?? whole))
}

/** The sentence for a code of the server (docs/spec.md §9); all others mean that it cannot be reached. */
export function sentence(code: string | undefined): string {
  const key = `err_${code}` as keyof Words
  return t(key in en ? key : 'err_network')
}

const tag = computed(() => (language.value === 'zh' ? 'zh-CN' : navigator.languages.find((l) => l.startsWith('en')) ?? 'en-GB'))
const clock = computed(() => new Intl.DateTimeFormat(tag.value, { hour: '2-digit', minute: '2-digit' }))
const weekday = computed(() => new Intl.DateTimeFormat(tag.value, { weekday: 'long' }))
const day = computed(() => new Intl.DateTimeFormat(tag.value, { day: 'numeric', month: 'long', year: 'numeric' }))
const short = computed(() => new Intl.DateTimeFormat(tag.value, { day: 'numeric', month: 'short' }))
const full = computed(() => new Intl.DateTimeFormat(tag.value, { dateStyle: 'full', timeStyle: 'medium' }))

export const timeOf = (at: string): string => clock.value.format(new Date(at))
export const momentOf = (at: string): string => full.value.format(new Date(at))

const midnight = (d: Date) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime()

/** How many days ago, by the calendar of this place. */
export const daysAgo = (at: string): number => Math.round((midnight(new Date()) - midnight(new Date(at))) / 86_400_000)

export function dayOf(at: string): string {
  const ago = daysAgo(at)
  if (ago === 0) return t('today')
  if (ago === 1) return t('yesterday')
  if (ago > 1 && ago < 7) return weekday.value.format(new Date(at))
  return day.value.format(new Date(at))
}

/** Short enough for the list: a time today, else a day. */
export function whenOf(at: string): string {
  const ago = daysAgo(at)
  if (ago === 0) return timeOf(at)
  if (ago === 1) return t('yesterday')
  return short.value.format(new Date(at))
}
