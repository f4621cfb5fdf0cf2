import { render } from 'preact'
import { App } from './view/App'
import './style/base.css'
import './style/door.css'
import './style/list.css'
import './style/thread.css'
import './style/side.css'

const page = document.getElementById('page')
if (page) render(<App />, page)
