// The engine on a thread of its own, so that no frame waits for a training step.
import { createEngine } from './engine.js';

const engine = createEngine((message) => self.postMessage(message));
self.onmessage = ({ data }) => engine(data);
