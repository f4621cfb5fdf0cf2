// Runs before anything is painted, so that a page in the dark is never white first.
;(() => {
  const theme = localStorage.getItem('postbox.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
})()
