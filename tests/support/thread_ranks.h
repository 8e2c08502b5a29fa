// Ranks that are threads of one process: what is shared between ranks, tested without MPI.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "dist/communicator.h"

namespace watersic {

class ThreadRanks {
 public:
  // Runs `body` on so many ranks at once; throws what the first of them threw.
  static void run(int count, const std::function<void(const Communicator&)>& body) {
    ThreadRanks all(count);
    std::vector<std::unique_ptr<ThreadRanks>> halves;
    for (int half = 0; half < 2 && count % 2 == 0; ++half)
      halves.emplace_back(new ThreadRanks(count / 2));
    std::vector<std::exception_ptr> errors(static_cast<size_t>(count));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < count; ++rank) {
      threads.emplace_back([&, rank] {
        try {
          body(Rank(all, rank, halves));
        } catch (...) {
          errors[static_cast<size_t>(rank)] = std::current_exception();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
  }

 private:
  class Rank : public Communicator {
   public:
    // `halves`: the even and the odd ranks, where there is an even number.
    Rank(ThreadRanks& all, int rank, std::span<const std::unique_ptr<ThreadRanks>> halves)
        : all_(all), rank_(rank) {
      if (halves.empty()) return;
      every_second_ = std::make_unique<Rank>(*halves[static_cast<size_t>(rank % 2)], rank / 2,
                                             std::span<const std::unique_ptr<ThreadRanks>>());
    }
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(all_.data_.size()); }
    const Communicator& every_second() const override { return *every_second_; }
    void broadcast(int root, std::span<std::byte> bytes) const override {
      show(bytes.data());
      if (rank_ != root) {
        const auto* from = static_cast<const std::byte*>(all_.data_[static_cast<size_t>(root)]);
        std::copy_n(from, bytes.size(), bytes.data());
      }
      all_.barrier_.arrive_and_wait();
    }
    void merge(std::span<float> values) const override { sum(values); }
    void merge(std::span<double> values) const override { sum(values); }

   private:
    void show(void* data) const {
      all_.data_[static_cast<size_t>(rank_)] = data;
      all_.barrier_.arrive_and_wait();
    }
    template <class T>
    void sum(std::span<T> values) const {
      show(values.data());
      std::vector<T> total(values.size());
      for (const void* data : all_.data_)
        for (size_t i = 0; i < total.size(); ++i) total[i] += static_cast<const T*>(data)[i];
      all_.barrier_.arrive_and_wait();
      std::ranges::copy(total, values.begin());
    }

    ThreadRanks& all_;
    int rank_;
    std::unique_ptr<Rank> every_second_;
  };

  explicit ThreadRanks(int count) : data_(static_cast<size_t>(count)), barrier_(count) {}

  std::vector<void*> data_;  // what each rank gives
  std::barrier<> barrier_;
};

}  // namespace watersic
