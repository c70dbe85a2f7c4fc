#include "control/member_names.h"

#include <fmt/core.h>

#include <cctype>

namespace muster::control {
namespace {

// Part of a longer address or number, and so another's.
bool GoesOn(const std::string& text, size_t begin, size_t end) {
  const auto is_part = [](char one) {
    return std::isalnum(static_cast<unsigned char>(one)) || one == '.' || one == ':' || one == '-';
  };
  const bool before = begin > 0 && is_part(text[begin - 1]);
  return before || (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end])));
}

}  // namespace

std::string NameMembers(std::string text, const std::string& service, const std::vector<Instance>& members) {
  for (const Instance& member : members) {
    if (member.service != service || member.address.empty()) continue;
    for (const auto& [name, port] : member.ports) {
      const std::string seat = fmt::format("{}:{}", member.address, port.first);
      size_t at = 0;
      while ((at = text.find(seat, at)) != std::string::npos) {
        if (GoesOn(text, at, at + seat.size())) {
          ++at;
        } else {
          text.replace(at, seat.size(), member.name);
          at += member.name.size();
        }
      }
    }
  }
  return text;
}

}  // namespace muster::control
