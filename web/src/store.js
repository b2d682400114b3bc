// What the browser keeps of a training until the user has it in a file: one record for each kind of model.
const open = () => new Promise((resolve, reject) => {
  const request = indexedDB.open('sunstone', 1);
  request.onupgradeneeded = () => request.result.createObjectStore('models');
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function ask(mode, work) {
  const db = await open();
  try {
    const transaction = db.transaction('models', mode);
    const request = work(transaction.objectStore('models'));
    return await new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    db.close();
  }
}

export const keep = (kind, record) => ask('readwrite', (models) => models.put(record, kind));
export const kept = (kind) => ask('readonly', (models) => models.get(kind));
export const forget = (kind) => ask('readwrite', (models) => models.delete(kind));
