// Bytes on their way through texts: whether they are UTF-8, and base64 for those that aren't. Pure. Positions
// and lengths count bytes, never characters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace muster {

// How many bytes the character has that begins here, whole and written as it should be; 0: none does.
size_t CharacterLength(std::string_view bytes);

bool IsUtf8(std::string_view bytes);
// UTF-8 that JSON has to escape so little of that base64 would be no shorter.
bool IsPlain(std::string_view bytes);

// How many of the bytes can be handed on without cutting a character in two: all, or up to three fewer where
// the last character of them isn't whole yet. Bytes that are no UTF-8 anyway are not waited for.
size_t WholeUtf8(std::string_view bytes);

std::string EncodeBase64(std::string_view bytes);
// RFC 4648, padded; nullopt for anything else.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace muster
