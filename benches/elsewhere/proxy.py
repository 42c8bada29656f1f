"""A line with a delay: passes bytes on between a port of loopback and another, each a fixed time after it came.

  python3 proxy.py LISTEN_PORT PORT MILLISECONDS_EACH_WAY

Nothing limits how much is under way, so that it is the delay alone that is felt.
"""
import asyncio
import sys

BLOCK_BYTES = 1 << 18


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        while True:
            block = await reader.read(BLOCK_BYTES)
            under_way.put_nowait((clock() + delay, block))
            if not block:
                return

    reading = asyncio.create_task(read())
    try:
        while True:
            due, block = await under_way.get()
            wait = due - clock()
            if wait > 0:
                await asyncio.sleep(wait)
            if not block:
                break
            writer.write(block)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()
    finally:
        await reading


async def main(listen: int, port: int, delay: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A connection is made when the line has been gone there and back once.
        await asyncio.sleep(2 * delay)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * BLOCK_BYTES)
        await asyncio.gather(pass_on(reader, there_writer, delay), pass_on(there_reader, writer, delay), return_exceptions=True)
        writer.close()
        there_writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", listen, limit=4 * BLOCK_BYTES)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
