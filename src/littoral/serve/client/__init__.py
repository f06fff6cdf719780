"""The client: one conversation without a wire, two wires (HTTP and gRPC), two ways to wait (threads and asyncio)."""
