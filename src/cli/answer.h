// Fields of the server's answers. One that is missing or of another type reads as nothing: a newer or older
// server must not make a command crash. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace muster::cli {

std::string Text(const nlohmann::json& json, const char* name);
int64_t Number(const nlohmann::json& json, const char* name, int64_t fallback = 0);
bool Flag(const nlohmann::json& json, const char* name);
// The list under `name`; it lives as long as `json`.
const nlohmann::json& List(const nlohmann::json& json, const char* name);
const nlohmann::json& Object(const nlohmann::json& json, const char* name);

}  // namespace muster::cli
