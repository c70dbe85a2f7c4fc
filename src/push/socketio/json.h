// JSON read without building a tree: whether a text is right, and where its parts are. Pure. What is handed
// back points into the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::push::json {

constexpr int kDepthMost = 100;

// How many bytes the value has that begins at `text`, blanks before it included; npos: it is no JSON.
size_t ValueLength(std::string_view text);
bool IsValid(std::string_view text);  // one value and nothing but blanks around it

// The elements of an array, each without blanks around; false: it isn't one. What `elements` had is gone.
bool ReadArray(std::string_view text, std::vector<std::string_view>& elements);
// The value of an object's member, the last where it has several; nullopt: no object, or no such member.
std::optional<std::string_view> Member(std::string_view object, std::string_view name);
bool IsObject(std::string_view value);  // by its first letter

// Of an array or object that is valid: whether all places of attachments in it
// ({"_placeholder":true,"num":N}) are of one of the first `count`. As with the reference, one may have
// several places or none, and nothing in a place is one.
bool PlacesAreWithin(std::string_view value, size_t count);

// Of a value that is valid. ReadString decodes escapes; nullopt for what is no string.
std::optional<std::string> ReadString(std::string_view value);
std::optional<int64_t> ReadInteger(std::string_view value);
bool IsTrue(std::string_view value);
// A string, or a number as it is written: what ids may be. nullopt for all else and for "".
std::optional<std::string> ReadId(std::string_view value);

// The same two without memory of their own: a view into `value` where it has no escapes, else into `store`,
// whose text is gone then.
std::optional<std::string_view> ViewString(std::string_view value, std::string& store);
std::optional<std::string_view> ViewId(std::string_view value, std::string& store);

// Appends text as a string with its quotes; what isn't UTF-8 is replaced.
void AppendQuoted(std::string& out, std::string_view text);
std::string Quoted(std::string_view text);

}  // namespace muster::push::json
