// Bundles src/ into dist/, which is committed. SPDX-License-Identifier: Apache-2.0
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const LIMIT = 80 * 1024; // gzipped bytes of JS, CSS and HTML together: what a slow line still loads at once
const here = fileURLToPath(new URL('.', import.meta.url));

/** The files of dist/, by name. The same sources give the same bytes: no names of this machine, no times. */
export async function bundle() {
  const result = await build({
    absWorkingDir: here,
    entryPoints: { app: 'src/main.tsx' },
    outdir: 'dist',
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    target: 'es2021',
    charset: 'utf8',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'eof', // the licences of what is bundled ask to be kept
    logLevel: 'warning',
  });
  const files = new Map();
  for (const file of result.outputFiles) files.set(file.path.slice(file.path.lastIndexOf('/') + 1), Buffer.from(file.contents));
  for (const name of ['index.html', 'favicon.svg']) files.set(name, await readFile(`${here}src/${name}`));
  return files;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = await bundle();
  let total = 0;
  for (const [name, bytes] of files) {
    const zipped = gzipSync(bytes, { level: 9 }).length;
    if (!name.endsWith('.svg')) total += zipped;
    console.log(`${name.padEnd(12)} ${String(bytes.length).padStart(7)} bytes, gzipped ${zipped}`);
  }
  console.log(`JS + CSS + HTML gzipped: ${(total / 1024).toFixed(1)} KiB of ${LIMIT / 1024}`);
  if (total > LIMIT) {
    console.error('the page is too large');
    process.exit(1);
  }
  await rm(`${here}dist`, { recursive: true, force: true });
  await mkdir(`${here}dist`);
  for (const [name, bytes] of files) await writeFile(`${here}dist/${name}`, bytes);
}
