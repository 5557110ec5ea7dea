// The page: its header, the views, the ruler and the status. SPDX-License-Identifier: Apache-2.0
import 'uplot/dist/uPlot.min.css';
import './app.css';
import { render } from 'preact';
import { start } from './feed';
import { bytes, count, percent } from './format';
import { touch, useFrames } from './frame';
import { GraphView } from './graph';
import { Help } from './help';
import { currentLanguage, t } from './i18n';
import { startKeys } from './keys';
import { MemoryView } from './memory';
import { OpsView } from './ops';
import { go, shown, startRoute, VIEWS } from './route';
import { Ruler } from './ruler';
import { SessionsView } from './sessions';
import { state } from './state';
import { Notices, Status } from './status';
import { nextLanguage, nextTheme, startTheme, theme } from './theme';

/** Which of several devices is watched, and how full each is. */
function Devices() {
  return (
    <div class="devices" role="group" aria-label={t('devices')}>
      {state.devices.map(([name, used, limit], i) => (
        <button key={i} data-device={i} aria-pressed={i === state.device} onClick={() => state.watch(i)} title={`${bytes(used)} / ${bytes(limit)}`}>
          {name || `#${i}`} <span class="dim">{percent(limit > 0 ? used / limit : 0)}</span>
        </button>
      ))}
    </div>
  );
}

function Header() {
  useFrames(100);
  const sample = state.memory.at(state.time);
  const stat = state.stats.at(state.time)?.stat;
  const hello = state.life?.hello;
  return (
    <header class="top"><div class="bar">
      <a class="mark" href="#/" aria-label="tensord">
        <img src="favicon.svg" alt="" width="22" height="22" />
        <b>tensord</b>
      </a>
      {state.devices.length > 1 ? <Devices /> : hello && <span class="device dim" title={hello.description}>{hello.device} · {hello.description}</span>}
      <nav>
        <button aria-current={shown.view === null ? 'page' : undefined} onClick={() => go(null)}>{t('overview')}</button>
        {VIEWS.map((view, i) => (
          <button key={view} data-view={view} aria-current={shown.view === view ? 'page' : undefined} onClick={() => go(view)}>
            <kbd>{i + 1}</kbd> {t(view)}
          </button>
        ))}
      </nav>
      <span class="grow" />
      {stat && (
        <dl class="figures">
          <div class="first"><dt>{t('memory')}</dt><dd>{sample ? bytes(sample.used) : '–'}</dd></div>
          <div><dt>{t('opsPerSecond')}</dt><dd>{count(stat.ops_s)}</dd></div>
          <div class="second"><dt>{t('requestsPerSecond')}</dt><dd>{count(stat.requests_s)}</dd></div>
          <div><dt>{t('busy')}</dt><dd>{percent(stat.busy)}</dd></div>
        </dl>
      )}
      <div class="tools">
        <button onClick={nextTheme} title={`${t('theme')} (D)`}>{t(theme())}</button>
        <button onClick={nextLanguage} title={`${t('language')} (L)`} aria-label={t('language')}>{currentLanguage().toUpperCase()}</button>
        <button onClick={() => { shown.tables = !shown.tables; touch(true); }} aria-pressed={shown.tables} title={t('table')} aria-label={t('table')}>T</button>
        <button onClick={() => { shown.help = true; touch(true); }} title={`${t('help')} (?)`} aria-label={t('help')}>?</button>
      </div>
    </div></header>
  );
}

function App() {
  useFrames(1000);
  const one = (view: (typeof VIEWS)[number]) => shown.view === null || shown.view === view;
  return (
    <>
      <Header />
      <Notices />
      <main class={shown.view ?? 'all'}>
        {one('graph') && <GraphView />}
        {one('memory') && <MemoryView />}
        {one('sessions') && <SessionsView />}
        {one('ops') && <OpsView />}
      </main>
      <footer>
        <Ruler />
        <Status />
      </footer>
      {shown.help && <Help close={() => { shown.help = false; touch(true); }} />}
    </>
  );
}

startTheme();
startRoute();
startKeys();
const root = document.getElementById('app')!;
root.textContent = '';
render(<App />, root);
start();
