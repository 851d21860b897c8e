// What the scripts share: deadlines, and the JSON that goes in as an argument and comes out.

const WAIT = 15_000; // milliseconds after which something that should have come has not

/** The promise, or an error that says what did not come in time. */
export async function within(promise, what, wait = WAIT) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in ${wait} ms`)), wait);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What has come by callbacks, to be awaited one by one. */
export class Inbox {
  #items = [];
  #waiting = [];

  push = (item) => {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  };

  next(what = "message") {
    if (this.#items.length > 0) return this.#items.shift();
    return within(new Promise((resolve) => this.#waiting.push(resolve)), what);
  }

  async take(count, what) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next(what));
    return taken;
  }

  get size() {
    return this.#items.length;
  }
}

/** Run a story with the script's argument and print what it returns. */
export async function tell(story) {
  try {
    const told = await story(JSON.parse(process.argv[2]));
    process.stdout.write(JSON.stringify(told), () => process.exit(0));
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
