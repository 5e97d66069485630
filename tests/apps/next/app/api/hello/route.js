export const dynamic = 'force-dynamic';

const SLOW_MS_MAX = 10_000;

// Answers after `ms`, for the test needs a request that is in flight.
export async function GET(request) {
  const ms = Math.min(Number(request.nextUrl.searchParams.get('ms') || 0), SLOW_MS_MAX);
  await new Promise((done) => setTimeout(done, ms));
  return Response.json({ app: 'next', slept_ms: ms });
}
