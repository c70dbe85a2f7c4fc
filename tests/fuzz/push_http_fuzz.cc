// Bytes of a stranger as HTTP requests, one after the other, as a loop of muster-push reads them.
#include <cstdlib>
#include <string>

#include "push/loop/http.h"

using namespace muster::push;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string body;
  while (!bytes.empty()) {
    http::Request request;
    const http::Head head = http::ParseHead(bytes, request);
    if (head.parsed != http::Parsed::kWhole) break;
    if (head.size == 0 || head.size > bytes.size()) std::abort();
    if (request.chunked && request.content_length >= 0) std::abort();
    (void)http::Names(request.connection, "upgrade");
    (void)http::DecodePercent(http::QueryValue(request.query, "sid"));
    bytes.remove_prefix(head.size);
    if (!request.chunked) continue;
    const http::Chunks chunks = http::ParseChunks(bytes, 1000, body);
    if (body.size() > 1000) std::abort();
    // In two pieces it is the same.
    std::string again;
    const http::Chunks begun = http::ParseChunks(bytes.substr(0, bytes.size() / 2), 1000, again);
    if (begun.parsed == http::Parsed::kNeedMore) {
      const http::Chunks whole = http::ParseChunks(bytes, 1000, again, begun.size);
      if (whole.parsed != chunks.parsed || whole.size != chunks.size || again != body) std::abort();
    }
    if (chunks.parsed != http::Parsed::kWhole) break;
    bytes.remove_prefix(chunks.size);
  }
  return 0;
}
