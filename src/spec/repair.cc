#include "spec/repair.h"

#include <fmt/format.h>

#include "base/text.h"
#include "spec/file_shape.h"
#include "spec/shape_check.h"

namespace muster::spec {
namespace {

using Type = Shape::Type;

class Repairer {
 public:
  explicit Repairer(const Shapes& shapes) : shapes_(shapes) {
    for (const auto& [name, shape] : shapes) kinds_.push_back(name);
  }

  Repaired Repair(const Value& root) {
    Value file = Mended(root, FileShape(), root.mark).value_or(root);
    // The name is for people, whatever it is called; commands look for clusters by it.
    if (const Value* name = root.Find("cluster"); name && !file.Find("cluster")) {
      file.entries.push_back({.key = "cluster", .key_mark = name->mark, .value = *name});
    }
    for (Value::Entry& entry : file.entries) {
      if (entry.key != "services") continue;
      for (Value::Entry& service : entry.value.entries) MendService(service);
    }
    return {.root = std::move(file), .told = std::move(told_)};
  }

 private:
  void Tell(Mark mark) { told_.push_back(mark); }

  void MendService(Value::Entry& entry) {
    const Value* kind = entry.value.Find("kind");
    if (!kind || !kind->is_scalar()) return Tell(entry.key_mark);
    auto shape = shapes_.find(kind->text);
    if (shape == shapes_.end()) {
      Tell(entry.key_mark);
      const auto near = Nearest(kind->text, kinds_);
      if (!near) return;
      for (Value::Entry& one : entry.value.entries) {
        if (one.key == "kind") one.value.text = *near;
      }
      shape = shapes_.find(*near);
    }
    if (auto mended = Mended(entry.value, ServiceShape(shape->first, shape->second), entry.key_mark)) {
      entry.value = std::move(*mended);
    }
  }

  // The value as it fits its shape; nullopt where nothing of it does.
  std::optional<Value> Mended(const Value& value, const Shape& shape, Mark key_mark) {
    switch (shape.type) {
      case Type::kAny:
        return value;
      case Type::kObject:
        if (value.is_map()) return MendedObject(value, shape, key_mark);
        break;
      case Type::kMap:
        if (value.is_map()) return MendedMap(value, shape, key_mark);
        break;
      case Type::kList:
        if (value.is_list()) return MendedList(value, shape, key_mark);
        if (shape.or_single && value.is_scalar()) {
          return shape.element ? Mended(value, *shape.element, key_mark) : value;
        }
        break;
      case Type::kEither:
        for (const Shape& choice : shape.choices) {
          const bool list = choice.type == Type::kList;
          const bool map = choice.type == Type::kMap || choice.type == Type::kObject;
          if (choice.type == Type::kAny || (list && value.is_list()) || (map && value.is_map()) ||
              (!list && !map && value.is_scalar())) {
            return Mended(value, choice, key_mark);
          }
        }
        break;
      default: {
        std::vector<Finding> findings;
        CheckShape(value, shape, "", findings);
        if (findings.empty()) return value;
      }
    }
    Tell(value.mark);
    return std::nullopt;
  }

  Value MendedObject(const Value& value, const Shape& shape, Mark key_mark) {
    Value mended = value;
    mended.entries.clear();
    bool bad = false;
    std::vector<std::string> missing;
    for (const Shape::Field& field : shape.fields) {
      if (!value.Find(field.name)) missing.push_back(field.name);
    }
    for (const Value::Entry& entry : value.entries) {
      std::string key = entry.key;
      const Shape* field = FieldOf(shape, key);
      if (!field) {
        bad = true;
        Tell(entry.key_mark);
        const auto near = Nearest(key, missing);
        if (!near) continue;
        key = *near;
        std::erase(missing, key);
        field = FieldOf(shape, key);
      }
      auto fitting = Mended(entry.value, *field, entry.key_mark);
      if (!fitting) {
        bad = true;
        Tell(entry.key_mark);
        fitting = StandIn(*field, entry.value.mark);
      }
      if (fitting) mended.entries.push_back({key, entry.key_mark, std::move(*fitting)});
    }
    for (const Shape::Field& field : shape.fields) {
      if (!field.required || mended.Find(field.name)) continue;
      bad = true;
      if (auto text = StandInText(field.shape, value.mark)) {
        mended.entries.push_back({field.name, value.mark, std::move(*text)});
      }
    }
    if (bad) {
      Tell(value.mark);
      Tell(key_mark);
    }
    return mended;
  }

  // Names that don't match their pattern stay: others refer to them.
  Value MendedMap(const Value& value, const Shape& shape, Mark key_mark) {
    if (!shape.element) return value;
    Value mended = value;
    mended.entries.clear();
    for (const Value::Entry& entry : value.entries) {
      auto fitting = Mended(entry.value, *shape.element, entry.key_mark);
      if (!fitting) {
        Tell(entry.key_mark);
        Tell(value.mark);
        Tell(key_mark);
        fitting = StandIn(*shape.element, entry.value.mark);
      }
      if (fitting) mended.entries.push_back({entry.key, entry.key_mark, std::move(*fitting)});
    }
    return mended;
  }

  Value MendedList(const Value& value, const Shape& shape, Mark key_mark) {
    if (!shape.element) return value;
    Value mended = value;
    mended.items.clear();
    for (const Value& item : value.items) {
      if (auto fitting = Mended(item, *shape.element, item.mark)) {
        mended.items.push_back(std::move(*fitting));
      } else {
        mended.stand_in = true;
        Tell(value.mark);
        Tell(key_mark);
      }
    }
    return mended;
  }

  static const Shape* FieldOf(const Shape& shape, const std::string& name) {
    for (const Shape::Field& field : shape.fields) {
      if (field.name == name) return &field.shape;
    }
    return nullptr;
  }

  static Value Scalar(std::string text, Value::Type type, Mark mark) {
    Value value;
    value.type = type;
    value.text = std::move(text);
    value.mark = mark;
    value.stand_in = true;
    return value;
  }

  // For what others refer to: names of ports, numbers of instances. Anything else is as if it were left out.
  std::optional<Value> StandIn(const Shape& shape, Mark mark) {
    if (shape.type == Type::kPort || shape.type == Type::kPorts || shape.type == Type::kCount) {
      return Scalar("1", Value::Type::kInteger, mark);
    }
    if (shape.type != Type::kMap) return std::nullopt;
    return Scalar("", Value::Type::kMap, mark);
  }

  // For what a map can't do without; each differs, so that no two are taken for the same.
  std::optional<Value> StandInText(const Shape& shape, Mark mark) {
    if (shape.type != Type::kText) return std::nullopt;
    Value text = Scalar(fmt::format("/stand-in-{}", ++stand_ins_), Value::Type::kString, mark);
    std::vector<Finding> findings;
    CheckShape(text, shape, "", findings);
    return findings.empty() ? std::optional(std::move(text)) : std::nullopt;
  }

  const Shapes& shapes_;
  std::vector<std::string> kinds_;
  std::vector<Mark> told_;
  int stand_ins_ = 0;
};

}  // namespace

Repaired Repair(const Value& root, const Shapes& shapes) { return Repairer(shapes).Repair(root); }

}  // namespace muster::spec
