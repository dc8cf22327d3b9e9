// What the page is built with, from one place: elements, state inside them, and signals between them.
import { Fragment, cloneElement, createContext, h, render } from "./preact.mjs";
import {
  useCallback,
  useContext,
  useEffect,
  useErrorBoundary,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "./preact-hooks.mjs";
import htm from "./htm.mjs";
import {
  batch,
  computed,
  effect,
  signal,
  untracked,
  useComputed,
  useSignal,
  useSignalEffect,
} from "./signals.mjs";

/** Elements as they are written: html`<p class="note">${text}</p>`; values never become markup. */
const html = htm.bind(h);

export { Fragment, cloneElement, createContext, h, html, render };
export { useCallback, useContext, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useRef, useState };
export { batch, computed, effect, signal, untracked, useComputed, useSignal, useSignalEffect };
