'use client';

import { useState } from 'react';

// A client component, so that the page has assets of its own.
export default function Page() {
  const [clicks, setClicks] = useState(0);
  return <button onClick={() => setClicks(clicks + 1)}>hello from next, {clicks} clicks</button>;
}
