// What the handler of a signal may want to know: a list that it can walk at any time.
#pragma once

#include <atomic>
#include <utility>

namespace watersic {

template <class T>
class SignalList {
 public:
  class Entry {
    friend SignalList;
    std::atomic<bool> taken_ = false, live_ = false;
    T value_;
    Entry* next_ = nullptr;
  };

  Entry* add(T value) {
    // Entries are used again, never freed.
    Entry* entry = first_;
    while (entry != nullptr && entry->taken_.exchange(true)) entry = entry->next_;
    if (entry == nullptr) {
      entry = new Entry;
      entry->taken_ = true;
      entry->next_ = first_;
      while (!first_.compare_exchange_weak(entry->next_, entry)) {
      }
    }
    entry->value_ = std::move(value);
    entry->live_ = true;
    return entry;
  }
  static void remove(Entry* entry) {
    entry->live_ = false;
    entry->taken_ = false;
  }
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Entry* entry = first_; entry != nullptr; entry = entry->next_)
      if (entry->live_) visit(entry->value_);
  }

 private:
  std::atomic<Entry*> first_ = nullptr;
};

}  // namespace watersic
