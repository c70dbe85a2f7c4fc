// Reading fields of JSON objects that may be wrong in any way. Only for .cc files: it is heavy. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace muster::api {

using Json = nlohmann::json;

// Reads the fields of one object. A missing field leaves its target as it is; one of a wrong type is an
// error with code "bad-message", which `Give` reports: the first one counts. The object must outlive
// its reader.
class Fields {
 public:
  Fields(const Json& json, std::string_view what) : json_(json), what_(what) {
    if (!json.is_object()) Fail("", "an object");
  }

  Fields& Text(const char* name, std::string& target) {
    if (const Json* found = Find(name)) found->is_string() ? void(target = *found) : Fail(name, "text");
    return *this;
  }
  Fields& Bool(const char* name, bool& target) {
    if (const Json* found = Find(name))
      found->is_boolean() ? void(target = *found) : Fail(name, "true or false");
    return *this;
  }
  template <class Number>
  Fields& Integer(const char* name, Number& target) {
    const Json* found = Find(name);
    if (!found) return *this;
    if (!found->is_number_integer()) {
      Fail(name, "an integer");
      return *this;
    }
    const auto number = found->get<int64_t>();
    target = static_cast<Number>(number);
    if (static_cast<int64_t>(target) != number) Fail(name, "a number in its range");
    return *this;
  }
  Fields& Number(const char* name, double& target) {
    if (const Json* found = Find(name))
      found->is_number() ? void(target = found->get<double>()) : Fail(name, "a number");
    return *this;
  }
  Fields& Milliseconds(const char* name, Duration& target) {
    int64_t ms = target.count();
    Integer(name, ms);
    target = Duration(ms);
    return *this;
  }
  Fields& Moment(const char* name, WallTime& target) {
    int64_t ms = target.time_since_epoch().count();
    Integer(name, ms);
    target = WallTime(Duration(ms));
    return *this;
  }
  Fields& Texts(const char* name, std::vector<std::string>& target) {
    return Each(name, [&](const Json& item) {
      item.is_string() ? target.push_back(item) : Fail(name, "a list of texts");
    });
  }
  template <class Map>
  Fields& TextMap(const char* name, Map& target) {
    const Json* found = Find(name);
    if (!found) return *this;
    if (!found->is_object()) {
      Fail(name, "an object");
      return *this;
    }
    for (const auto& [key, value] : found->items()) {
      value.is_string() ? void(target[key] = value.template get<std::string>())
                        : Fail(name, "an object of texts");
    }
    return *this;
  }
  template <class Act>
  Fields& Each(const char* name, Act act) {
    const Json* found = Find(name);
    if (!found) return *this;
    if (!found->is_array()) {
      Fail(name, "a list");
      return *this;
    }
    for (const Json& item : *found) act(item);
    return *this;
  }
  // A part that has a reader of its own: `Result<T> read(const Json&)`.
  template <class T, class Read>
  Fields& Part(const char* name, T& target, Read read) {
    if (const Json* found = Find(name)) Take(read(*found), [&](T value) { target = std::move(value); });
    return *this;
  }
  template <class T, class Read>
  Fields& Parts(const char* name, std::vector<T>& target, Read read) {
    return Each(name, [&](const Json& item) {
      Take(read(item), [&](T value) { target.push_back(std::move(value)); });
    });
  }

  const Json* Find(const char* name) const {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(name);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  void Fail(const std::string& name, std::string_view wanted) {
    if (!error_)
      error_ = Error::Invalid("bad-message", "{}: {} is not {}", what_, name.empty() ? "it" : name, wanted);
  }
  template <class T>
  Result<T> Give(T value) const {
    if (error_) return *error_;
    return value;
  }

 private:
  template <class R, class Use>
  void Take(R result, Use use) {
    if (result.ok()) {
      use(std::move(result).value());
    } else if (!error_) {
      error_ = std::move(result).error();
    }
  }

  const Json& json_;
  std::string what_;
  std::optional<Error> error_;
};

}  // namespace muster::api
